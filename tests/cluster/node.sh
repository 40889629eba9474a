# One node: what `up --node` starts beside the control plane. Sourced, never run.
# shellcheck shell=bash
#
# Everything of the cluster, the control plane too, runs in mount, network and process namespaces of its own. When their first process
# is killed, the kernel ends all others, and with the last of them every mount, link, route, firewall table and network namespace goes:
# nothing has to be undone one by one, however the cluster ended. What stays for `down` to remove is the folder and the control groups.
#
# Addresses are from 198.18.0.0/15 (RFC 2544, for benchmarks), which no network that one may be connected to should use:
#   198.18.N.0/24   pods; .1 is the node, with the API server and DNS     198.19.N.0/24   Services; .1 the API server's, .10 DNS
#   198.18.12N.0/30 the link `rmqN` between the machine and the node; the machine has routes through it to the node, pods and Services
# N is the first number whose link is free. The next cluster may take it as soon as this one goes: whose a link is, its alias tells.

NODE_NUMBERS=10

need_node() {
  [ "$(uname -s)" = Linux ] || die "a node needs Linux, this is $(uname -s): use kind (kind-config.yaml) and ROUTEMQ_TEST_KUBECONFIG"
  [ "$(id -u)" = 0 ] || die "a node needs root (namespaces, mounts, control groups): run it with sudo"
  local pair
  for pair in runc:runc nft:nftables ip:iproute2 nsenter:util-linux unshare:util-linux; do
    command -v "${pair%:*}" >/dev/null || die "a node needs ${pair%:*}: apt-get install ${pair#*:}"
  done
}

# The namespaces, held by a first process; and the link into them.
make_namespaces() {
  start node unshare --mount --net --pid --fork --propagation private "$CLUSTER_SRC/init" "$dir"
  await node 10 test -s "$dir/pid/init"
  into_namespaces
  make_link
}

# link_up N: fails where another cluster has that number.
link_up() { ip link add "rmq$1" type veth peer name uplink netns "$(cat "$dir/pid/init")" 2>/dev/null; }

# link_is_ours N: not that of a cluster that took the number since.
link_is_ours() { ip -oneline link show "rmq$1" 2>/dev/null | grep -qF -- "alias $dir"; }

make_link() {
  number=0
  until link_up "$number"; do
    number=$((number + 1))
    [ $number -lt $NODE_NUMBERS ] || die "no node can be added to this machine: $NODE_NUMBERS are up, or \`ip link add rmq0 type veth\` does not work here; see tests/cluster/down"
  done
  printf '%s\n' "$number" >"$dir/number"
  ip link set "rmq$number" alias "$dir"
  node_ip=198.18.$number.1 pods=198.18.$number.0/24 services=198.19.$number.0/24
  local here=198.18.12$number.1 there=198.18.12$number.2
  ip address add "$here/30" dev "rmq$number"
  ip link set "rmq$number" up
  "${inside[@]}" sh -ec "ip address add $there/30 dev uplink; ip link set uplink up; ip route add default via $here
    ip link add cni0 type bridge; ip address add $node_ip/24 dev cni0; ip link set cni0 up"
  ip route add "$pods" via "$there"
  ip route add "$services" via "$there"
}

# === containerd ===

start_containerd() {
  cat >"$dir/containerd.toml" <<TOML
version = 3
root = "$dir/containerd"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "docker.io/library/pause:bed"
[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE (virtual machines, containers) no sandbox could lower its score.
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["$bin"]
  conf_dir = "$dir/cni"
  use_internal_loopback = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
TOML
  mkdir "$dir/cni"
  cat >"$dir/cni/bed.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "bed", "plugins": [{"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": {
  "type": "host-local", "ranges": [[{"subnet": "$pods", "rangeStart": "${node_ip%.*}.10"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
  start containerd env PATH="$bin:$PATH" "$bin/containerd" --config "$dir/containerd.toml"
  await containerd 20 "${inside[@]}" "$bin/ctr" version
  "$CLUSTER_SRC/image" --user 0:0 --binary /usr/bin/sleep "$dir/pause.tar" pause:bed /usr/bin/sleep infinity
  "$CLUSTER_SRC/load" "$dir" "$dir/pause.tar"
}

# === kubelet, scheduler, kube-proxy ===

start_kubelet() {
  cat >"$dir/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $dir/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $dir/pki/kubelet.crt
tlsPrivateKeyFile: $dir/pki/kubelet.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$(cgroup)
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
clusterDNS: [${services%.*}.10]
clusterDomain: cluster.local
resolvConf: ""
podLogsDir: $dir/log/pods
volumePluginDir: /var/lib/kubelet-plugins
# How soon a pod sees a changed ConfigMap or Secret: a minute by default.
syncFrequency: 10s
# The machine's memory and disk are not the node's business: where little is left of them, kubelet would evict the tests' pods.
evictionHard: {memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%"}
imageGCHighThresholdPercent: 100
YAML
  make_cgroups
  start kubelet "$bin/kubelet" --kubeconfig "$dir/kubelet.kubeconfig" --config "$dir/kubelet.yaml" --root-dir "$dir/kubelet" \
    --hostname-override node --node-ip "$node_ip"
}

start_scheduler() {
  start kube-scheduler "$bin/kube-scheduler" --kubeconfig "$dir/kube-scheduler.kubeconfig" --leader-elect=false --bind-address 127.0.0.1
}

start_proxy() {
  cat >"$dir/kube-proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: $dir/kube-proxy.kubeconfig}
clusterCIDR: $pods
hostnameOverride: node
oomScoreAdj: 0
# The machine's limits stay as they are.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
  start kube-proxy "$bin/kube-proxy" --config "$dir/kube-proxy.yaml"
}

# === DNS ===

start_dns() {
  printf '%s\n' '.:53 {' "  bind $node_ip" '  errors' '  cache 5' '  kubernetes cluster.local {' "    kubeconfig $dir/coredns.kubeconfig" '  }' '}' >"$dir/Corefile"
  "$bin/kubectl" --kubeconfig "$dir/admin.kubeconfig" apply --filename - >/dev/null <<YAML
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: system:coredns}
rules:
  - {apiGroups: [""], resources: [services, namespaces, pods], verbs: [list, watch]}
  - {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: system:coredns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:coredns}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: system:coredns}]
---
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec:
  clusterIP: ${services%.*}.10
  ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
endpoints: [{addresses: [$node_ip], conditions: {ready: true}}]
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
YAML
  start coredns "$bin/coredns" -conf "$dir/Corefile"
  await coredns 20 bash -c "exec 3<>/dev/tcp/$node_ip/53"
}

start_node() {
  start_containerd
  start_kubelet
  start_scheduler
  start_proxy
  start_dns
  await kubelet 60 "$bin/kubectl" --kubeconfig "$dir/admin.kubeconfig" wait --for=condition=Ready node/node --timeout=1s
}

# === Control groups ===

# The parent of all pods' control groups, by a name that no other cluster has.
cgroup() { printf 'routemq-%s\n' "${dir##*/}"; }

# Of every hierarchy: one (version 2), or one a controller (version 1).
hierarchies() {
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then printf '%s\n' /sys/fs/cgroup; return; fi
  local path
  for path in /sys/fs/cgroup/*/; do printf '%s\n' "${path%/}"; done
}

make_cgroups() {
  local path
  for path in $(hierarchies); do mkdir -p "$path/$(cgroup)"; done
}

# A group goes once its last process is reaped, a moment after it was killed.
remove_cgroups() {
  local path
  for path in $(hierarchies); do soon without "$path/$(cgroup)" || :; done
}

# without FOLDER: whether no such group is left.
without() { [ ! -d "$1" ] || find "$1" -depth -type d -exec rmdir {} + 2>/dev/null; }

# === Down ===

# ended PID: whether it has ended, and with it all processes of the namespace whose first it is. Those end after it has lost its command line, and before
# it is a zombie.
ended() { case $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) in '' | Z | X) ;; *) return 1 ;; esac; }

# Kills the first process, and with it all of them; awaits their end.
end_node() {
  local pid
  if pid=$(cat "$dir/pid/init" 2>/dev/null) && running "$pid"; then
    kill -KILL "$pid" 2>/dev/null
    soon ended "$pid"
  fi
  local number
  if number=$(cat "$dir/number" 2>/dev/null) && link_is_ours "$number"; then ip link delete "rmq$number" 2>/dev/null; fi
  remove_cgroups
}
