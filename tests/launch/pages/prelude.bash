# Runs before the commands of a section. A command that fails ends the section, and so does an answer of the
# endpoint with a status from 400.
set -uEo pipefail

failed() {
  echo "exit code $1: $2" >&2
  exit 1
}
trap 'failed $? "$BASH_COMMAND"' ERR

curl() { command curl --silent --fail-with-body --max-time 60 "$@"; }

# The environment of the tests is not made again, and no command stops or measures the cluster of the tests.
make() {
  case " $* " in
    *" down "*) CLUSTER_HOME=$SPARE_HOME command make --assume-old=.venv/.installed "$@" ;;
    *" up "* | *" status "* | *" logs "* | *" help "*) command make --assume-old=.venv/.installed "$@" ;;
    *) command make --assume-old=.venv/.installed --dry-run "$@" ;;
  esac
}

# Only the options of these commands are checked. Benchmarks and bulk ingests take minutes. After the first key,
# the endpoint refuses all requests without a key.
check_options() { command python -m tests.launch.pages.check_options "$@"; }

python() {
  case "$*" in
    "-m benchmarks."* | "-m data_jobs.ingest "* | "-m cluster.keys create "*) check_options "${@:2}" ;;
    # The doctor ends with 1 if it found something, and another test may have left something to be found.
    "-m cluster.doctor"*) command python "$@" || [[ $? == 1 ]] ;;
    "-m cluster.local down"*) CLUSTER_HOME=$SPARE_HOME command python "$@" ;;
    *) command python "$@" ;;
  esac
}

# No Kubernetes is at hand: the call is recorded and checked, and a command for a pod runs here.
kubectl() {
  printf '%q ' "$@" >>"$KUBECTL_CALLS"
  echo >>"$KUBECTL_CALLS"
  while (($#)) && [[ $1 != -- ]]; do shift; done
  if (($#)); then shift; "$@"; fi
}

# No GPU is at hand.
nvidia-smi() { :; }
# Prometheus would run until it is stopped. promtool checks the configuration that it gets.
prometheus() { promtool check config "${1#--config.file=}"; }
