#!/usr/bin/env bash
# From nothing to an identified photo in a kind cluster. Run it again at any time: what is there is
# kept, and what changed is brought up to date.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: k8s/kind-up.sh [--down]

Makes the kind cluster `faces` with everything in it, and identifies a photo through its ingress.
--down removes the cluster, and with it who was enrolled.

From the environment: REGISTRY and TAG of the image, as for `make images`.
TEXT
}

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repository"
# shellcheck source=k8s/versions.env
. k8s/versions.env

cluster=faces
context="kind-$cluster"
# As k8s/values-kind.yaml has them.
namespace=faces
release=faces
secret=faces-s3
hashes=faces-keys
admin_key=faces-admin-key
url=http://localhost:8080
image="${REGISTRY:+$REGISTRY/}facenet-serving"
tag=${TAG:-dev}
# What all pods request with one spare of Ray and a Job, rounded up; as in k8s/README.md.
need_cpus=4
need_gib=12
wait_seconds=${WAIT_SECONDS:-1200}
poll_seconds=${POLL_SECONDS:-10}

say() { printf '\n==> %s\n' "$*"; }
fail() {
  printf '\nkind-up.sh: %s\n' "$*" >&2
  exit 1
}
kube() { kubectl --context "$context" --namespace "$namespace" "$@"; }

check_tools() {
  local tool missing=()
  for tool in docker kind kubectl helm curl; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  ((${#missing[@]} == 0)) || fail "not installed, or not on PATH: ${missing[*]}."
  local cpus bytes
  read -r cpus bytes < <(docker info --format '{{.NCPU}} {{.MemTotal}}' 2>/dev/null) ||
    fail "the Docker engine does not answer; start it, or see docker info."
  # The engine counts without what its kernel keeps: a machine set to 12 GiB has a little less.
  ((cpus >= need_cpus && bytes >= need_gib * 1024 * 1024 * 1024 * 95 / 100)) ||
    fail "the Docker engine has $cpus CPUs and $((bytes / 1024 / 1024)) MiB of memory, and the pods need" \
      "$need_cpus CPUs and $need_gib GiB. Give it more (Docker Desktop: Settings, Resources)."
}

cluster_exists() { kind get clusters 2>/dev/null | grep -qx "$cluster"; }

# await WHAT COMMAND...: until the command succeeds; says in between how the pods are.
await() {
  local what=$1 deadline=$((SECONDS + wait_seconds))
  shift
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS >= deadline)); then
      kube get rayservice,inferenceservice,pods >&2 || true
      kube get events --sort-by=.lastTimestamp 2>/dev/null | tail -n 15 >&2 || true
      fail "$what is not there after $wait_seconds s; what the cluster says is above."
    fi
    printf '    %4s s  %s: waiting; pods: %s\n' "$SECONDS" "$what" "$(pods)"
    sleep "$poll_seconds"
  done
  printf '    %4s s  %s: there\n' "$SECONDS" "$what"
}

# "3 Running, 1 Pending"
pods() {
  kube get pods --no-headers 2>/dev/null |
    awk '{ n[$3]++ } END { for (s in n) printf "%s%d %s", (c++ ? ", " : ""), n[s], s }'
}

is_ready() {
  local states
  states=$(kube get "$1" -o "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}")
  [[ $states == True ]]
}
answers() { curl --silent --fail --max-time 5 "$url/readyz"; }
random() { LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | head -c "$1" || true; }

# Once, here: keys made in a template would be others after every upgrade.
make_secret() {
  if kube get secret "$secret" >/dev/null 2>&1; then
    echo "    $secret is there and stays."
    return
  fi
  # By standard input: what is on a command line is in the process list.
  kube create -f - <<YAML
apiVersion: v1
kind: Secret
metadata:
  name: $secret
  # KServe reads the address of the S3 server here.
  annotations:
    serving.kserve.io/s3-endpoint: "$release-minio.$namespace.svc:9000"
    serving.kserve.io/s3-usehttps: "0"
    serving.kserve.io/s3-usevirtualbucket: "0"
    serving.kserve.io/s3-region: us-east-1
stringData:
  AWS_ACCESS_KEY_ID: "$(random 20)"
  AWS_SECRET_ACCESS_KEY: "$(random 40)"
YAML
}

# The service has the hash; the key is for helm test, for this script and for you.
make_api_key() {
  local made file
  if kube get secret "$admin_key" >/dev/null 2>&1; then
    echo "    $admin_key is there and stays."
    return
  fi
  # The key, and after it the key file.
  made=$(docker run --rm --network none "$image:$tag" sh -c \
    'faces key new kind-up --scope admin --file /tmp/keys.yaml && cat /tmp/keys.yaml')
  [[ $made == faces_*$'\n'keys:* ]] || fail "faces key new made no key."
  key=${made%%$'\n'*} file=${made#*$'\n'}
  file=${file//$'\n'/$'\n    '}
  # Both or, after a run that was broken off between them, both anew.
  kube apply --server-side --force-conflicts -f - <<YAML
apiVersion: v1
kind: Secret
metadata:
  name: $hashes
stringData:
  keys.yaml: |
    $file
---
apiVersion: v1
kind: Secret
metadata:
  name: $admin_key
stringData:
  key: $key
YAML
  printf '    The API key, with the scope admin: %s\n' "$key"
}

# By a file descriptor: what is on a command line is in the process list.
ask() { curl --silent --show-error --fail-with-body --max-time 120 --header @<(header) "$@"; }
header() { printf 'Authorization: Bearer %s\n' "$key"; }

enrol_and_identify() {
  local photo answer photos=()
  for photo in data/2576/photo_0[1-5].jpg; do photos+=(-F "images=@$photo"); done
  key=$(kube get secret "$admin_key" -o "go-template={{.data.key | base64decode}}")
  ask -F id=2576 "${photos[@]}" "$url/generate" >/dev/null ||
    fail "the photos of data/2576 could not be enrolled at $url/generate."
  answer=$(ask -F image=@data/id_is_2576.jpg "$url/infer") ||
    fail "data/id_is_2576.jpg could not be sent to $url/infer: $answer"
  printf '%s\n' "$answer"
  grep -Eq '"id": ?2576' <<<"$answer" || fail "that is not the person with the id 2576."
}

case "${1:-}" in
  "") ;;
  --down)
    command -v kind >/dev/null || fail "not installed, or not on PATH: kind."
    if cluster_exists; then
      kind delete cluster --name "$cluster"
    else
      echo "There is no cluster $cluster."
    fi
    exit
    ;;
  -h | --help)
    usage
    exit
    ;;
  *)
    usage >&2
    exit 2
    ;;
esac

say "1/8 Tools"
check_tools

say "2/8 The image $image:$tag"
if docker image inspect "$image:$tag" >/dev/null 2>&1; then
  echo "    It is there; make images makes it anew."
else
  make serving-image REGISTRY="${REGISTRY:-}" TAG="$tag"
fi

say "3/8 The cluster $cluster"
if cluster_exists; then
  echo "    It is there."
else
  kind create cluster --name "$cluster" --config k8s/kind.yaml --image "$KIND_NODE_IMAGE" --wait 180s
fi
kind load docker-image "$image:$tag" --name "$cluster"

say "4/8 cert-manager, KServe, KubeRay, ingress"
k8s/install.sh --context "$context" --kind

say "5/8 The namespace $namespace, the S3 keys and an API key"
kube get namespace "$namespace" >/dev/null 2>&1 || kube create namespace "$namespace"
make_secret
make_api_key

say "6/8 The chart, release $release"
helm --kube-context "$context" upgrade --install "$release" helm/facenet-serving \
  --namespace "$namespace" --values k8s/values-kind.yaml \
  --set "image.repository=$image" --set-string "image.tag=$tag" --timeout 20m
await "the InferenceService (Triton's image is 9 GB)" is_ready inferenceservice
await "the RayService" is_ready rayservice
await "$url" answers

say "7/8 helm test"
helm --kube-context "$context" test "$release" --namespace "$namespace" --logs --timeout 10m

say "8/8 Five photos enrolled, another one identified"
enrol_and_identify

cat <<TEXT

It runs at $url (API: $url/docs).

    FACES_KEY=\$(kubectl --context $context -n $namespace get secret $admin_key -o go-template='{{.data.key | base64decode}}')
    curl -H "Authorization: Bearer \$FACES_KEY" -F image=@photo.jpg $url/infer
    kubectl --context $context -n $namespace get rayservice,inferenceservice,pods
    make kind-down       # removes all of it
TEXT
