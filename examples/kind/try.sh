#!/usr/bin/env bash
# From nothing to rows in a database, on a local Kubernetes: says each step and what it runs.
# Usage: examples/kind/try.sh                     needs docker, kind, kubectl and helm; makes a cluster called routemq
#        examples/kind/try.sh --current-cluster   uses the cluster of your kubectl, whose nodes must have $ROUTEMQ_IMAGE and $ROUTEMQ_OPERATOR_IMAGE
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

worker=${ROUTEMQ_IMAGE:-routemq:try} operator=${ROUTEMQ_OPERATOR_IMAGE:-routemq-operator:try}

step() { printf '\n== %s\n' "$*"; }
run() { printf '+ %s\n' "$*"; "$@"; }
need() {
  local name
  for name in "$@"; do
    command -v "$name" >/dev/null || { printf 'try.sh: %s is missing; see https://kind.sigs.k8s.io and https://helm.sh\n' "$name" >&2; exit 3; }
  done
}

make_cluster() {
  need docker kind
  step "A cluster of three nodes, in containers"
  kind get clusters | grep -qx routemq || run kind create cluster --name routemq --config kind-config.yaml
  step "RouteMQ's two images, and into the nodes"
  run docker build --target worker --tag "$worker" .
  run docker build --target operator --tag "$operator" .
  run kind load docker-image --name routemq "$worker" "$operator"
}

case ${1:-} in
  '') make_cluster ;;
  --current-cluster) ;;
  *) sed -n '2,4s/^# //p' "$0" >&2; exit 2 ;;
esac
need kubectl helm

step "A broker and a database"
run kubectl apply --filename examples/kind/broker.yaml --filename examples/kind/database.yaml

step "RouteMQ: its definition of an MqttRoute, and its operator"
run helm upgrade --install routemq charts/routemq --namespace routemq --create-namespace --wait --timeout 3m \
  --set "operator.image.repository=${operator%:*},operator.image.tag=${operator##*:}" --set "worker.image.repository=${worker%:*},worker.image.tag=${worker##*:}"
run kubectl --namespace mqtt rollout status deployment/mosquitto --timeout 3m
run kubectl --namespace fleet rollout status deployment/mariadb --timeout 3m

step "A route: what devices report becomes rows"
run kubectl apply --filename examples/kind/route.yaml
run kubectl --namespace fleet wait --for=condition=Ready mqttroute/devices --timeout 2m
run kubectl --namespace fleet get mqttroutes

step "A message"
run kubectl --namespace mqtt exec deployment/mosquitto -- mosquitto_pub -V 5 -q 1 -t devices/d-17/telemetry -m '{"temperature": 21.5}'

step "Its row"
rows() { kubectl --namespace fleet exec deployment/mariadb -- mariadb --user routemq --password=change-me fleet --execute 'SELECT * FROM telemetry'; }
for _ in $(seq 20); do rows | grep -q d-17 && break; sleep 1; done
rows | grep . || { printf 'try.sh: no row after 20 s; kubectl --namespace fleet describe mqttroute/devices tells why\n' >&2; exit 1; }

step "Five workers instead of three"
run kubectl --namespace fleet scale mqttroute/devices --replicas=5
run kubectl --namespace fleet rollout status deployment/devices-worker --timeout 2m
run kubectl --namespace fleet get mqttroutes,pods

step "Yours now"
cat <<'END'
  kubectl --namespace fleet edit mqttroute/devices
  kubectl --namespace fleet logs deployment/devices-worker --follow
  routemq pub devices/d-18/telemetry '{"temperature": 90}'     (kind-config.yaml maps the broker to 127.0.0.1:1883)
  kind delete cluster --name routemq
END
