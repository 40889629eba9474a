{{- define "routemq.name" -}}
{{- printf "%s-operator" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "routemq.selector" -}}
app.kubernetes.io/name: routemq-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "routemq.labels" -}}
{{ include "routemq.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: routemq
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* What the operator does with MqttRoutes and their children: one list for both modes. */}}
{{- define "routemq.rules" -}}
- apiGroups: [routemq.io]
  resources: [mqttroutes]
  verbs: [list, watch, patch]
- apiGroups: [routemq.io]
  resources: [mqttroutes/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
# get and update are also what workers get: nobody can grant what he does not have.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
