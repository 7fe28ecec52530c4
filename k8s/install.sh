#!/usr/bin/env bash
# Install what the chart needs into a cluster: cert-manager, KServe (Standard mode), KubeRay.
# Run it again after a change of k8s/versions.env: every step is an upgrade.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: k8s/install.sh [options]

Installs cert-manager, KServe in Standard mode (no Knative, no Istio) and the KubeRay operator.

  --context NAME     the kubectl context; default: the current one
  --metrics-server   for autoscaling by CPU, where the cluster has none (kind, bare metal)
  --ingress          Traefik as ingress controller, where the cluster has none
  --gateway-api      the Gateway API's CRDs, for the chart's HTTPRoute
  --keda             KEDA, for InferenceServices with autoscaler class keda
  --kind             --metrics-server and --ingress as a kind cluster of k8s/kind.yaml needs them
  --dry-run          only say what would be installed
TEXT
}

say() { printf '\n==> %s\n' "$*"; }
fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=k8s/versions.env
. "$here/versions.env"

context="" metrics_server=false ingress=false gateway_api=false keda=false kind=false dry_run=false
while (($#)); do
  case "$1" in
    --context)
      context="${2:-}"
      [[ -n $context ]] || fail "--context needs a name."
      shift
      ;;
    --metrics-server) metrics_server=true ;;
    --ingress) ingress=true ;;
    --gateway-api) gateway_api=true ;;
    --keda) keda=true ;;
    --kind) kind=true metrics_server=true ingress=true ;;
    --dry-run) dry_run=true ;;
    -h | --help)
      usage
      exit
      ;;
    *)
      usage >&2
      fail "there is no option $1."
      ;;
  esac
  shift
done

for tool in kubectl helm; do
  command -v "$tool" >/dev/null || fail "$tool is not installed, or not on PATH."
done
context=${context:-$(kubectl config current-context 2>/dev/null || true)}
[[ -n $context ]] || fail "kubectl has no current context; choose one with --context NAME."

run() {
  if $dry_run; then
    printf '   '
    printf ' %q' "$@"
    printf '\n'
  else
    "$@"
  fi
}
kube() { run kubectl --context "$context" "$@"; }

# release NAMESPACE NAME CHART VERSION [options]: an install or an upgrade, waited for.
release() {
  local namespace=$1 name=$2 chart=$3 version=$4
  shift 4
  run helm --kube-context "$context" upgrade --install "$name" "$chart" --version "$version" \
    --namespace "$namespace" --create-namespace --wait --timeout 10m "$@"
}

# A webhook can take a few seconds longer than its pod before it has its certificate.
retried() {
  local attempt
  for attempt in 1 2 3 4 5; do
    "$@" && return
    printf 'Attempt %s of 5 failed; again in %s s.\n' "$attempt" "${RETRY_SECONDS:-10}" >&2
    sleep "${RETRY_SECONDS:-10}"
  done
  fail "this failed five times: $*"
}

# The RayClusters that still are as an operator of another version made them: namespace, name, version.
rayclusters_of_others() {
  kubectl --context "$context" get rayclusters --all-namespaces --no-headers -o custom-columns='NAMESPACE:.metadata.namespace,NAME:.metadata.name,KUBERAY:.metadata.annotations.ray\.io/kuberay-version' |
    awk -v now="$KUBERAY_VERSION" 'NF == 3 && $3 != "<none>" && $3 != now && $3 != "v" now'
}

# Until a new operator has taken over the clusters that serve, it would take a change of their pods for its own
# and put it into them, in place of a second cluster.
await_rayclusters() {
  local deadline=$((SECONDS + ${WAIT_SECONDS:-120})) others
  while others=$(rayclusters_of_others) && [[ -n $others ]]; do
    if ((SECONDS >= deadline)); then
      printf 'install.sh: KubeRay %s has not taken over yet:\n%s\n' "$KUBERAY_VERSION" "$others" >&2
      fail "wait with helm upgrade of the chart until their annotation ray.io/kuberay-version is the new one."
    fi
    sleep "${POLL_SECONDS:-5}"
  done
}

say "The cluster $context"
if ! $dry_run; then
  kubectl --context "$context" version >/dev/null ||
    fail "the cluster $context does not answer; see kubectl --context $context version."
fi

say "cert-manager $CERT_MANAGER_VERSION: certificates of the webhooks"
release cert-manager cert-manager oci://quay.io/jetstack/charts/cert-manager \
  "$CERT_MANAGER_VERSION" --set crds.enabled=true

if $gateway_api; then
  say "Gateway API $GATEWAY_API_VERSION"
  kube apply --server-side -f \
    "https://github.com/kubernetes-sigs/gateway-api/releases/download/$GATEWAY_API_VERSION/standard-install.yaml"
fi

if $metrics_server; then
  say "metrics-server $METRICS_SERVER_VERSION: what autoscaling by CPU reads"
  options=()
  # The kubelets of kind have certificates that nobody signed.
  if $kind; then options+=(--set 'args={--kubelet-insecure-tls}'); fi
  release kube-system metrics-server metrics-server "$METRICS_SERVER_VERSION" \
    --repo https://kubernetes-sigs.github.io/metrics-server/ "${options[@]}"
fi

if $ingress; then
  say "Traefik $TRAEFIK_VERSION: the ingress controller, class traefik and the cluster's default"
  options=(--set ingressClass.name=traefik --set ingressClass.isDefaultClass=true)
  if $gateway_api; then
    options+=(--set providers.kubernetesGateway.enabled=true
      --set gateway.listeners.web.namespacePolicy.from=All)
  fi
  # k8s/kind.yaml leads these ports to the host.
  if $kind; then
    options+=(--set service.spec.type=NodePort
      --set ports.web.nodePort=30080 --set ports.websecure.nodePort=30443)
  fi
  release traefik traefik oci://ghcr.io/traefik/helm/traefik "$TRAEFIK_VERSION" "${options[@]}"
fi

if $keda; then
  say "KEDA $KEDA_VERSION"
  release keda keda keda "$KEDA_VERSION" --repo https://kedacore.github.io/charts
fi

say "KServe $KSERVE_VERSION, Standard mode"
release kserve kserve-crd oci://ghcr.io/kserve/charts/kserve-crd "$KSERVE_VERSION"
# Triton is reached inside of the cluster only, so KServe makes no ingress for it.
retried release kserve kserve-resources oci://ghcr.io/kserve/charts/kserve-resources \
  "$KSERVE_VERSION" --set kserve.controller.deploymentMode=Standard \
  --set kserve.controller.gateway.disableIngressCreation=true \
  --set kserve.controller.gateway.disableIstioVirtualHost=true
retried release kserve kserve-runtime-configs oci://ghcr.io/kserve/charts/kserve-runtime-configs \
  "$KSERVE_VERSION" --set kserve.servingruntime.enabled=true

say "KubeRay $KUBERAY_VERSION"
kuberay_repo=https://ray-project.github.io/kuberay-helm/
# Helm installs CRDs once and never upgrades them.
if $dry_run; then
  kube apply --server-side --force-conflicts -f "the CRDs of kuberay-operator $KUBERAY_VERSION"
else
  crds=$(helm show crds kuberay-operator --repo "$kuberay_repo" --version "$KUBERAY_VERSION")
  kube apply --server-side --force-conflicts -f - <<<"$crds"
fi
release kuberay-system kuberay-operator kuberay-operator "$KUBERAY_VERSION" --repo "$kuberay_repo"
$dry_run || await_rayclusters

say "Everything is installed. Next: helm install faces helm/facenet-serving (see k8s/README.md)"
