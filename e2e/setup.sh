# What ./demo and ./test need, installed on first use and said so. Sourced by both; standard output stays free for results.
TARGET="${CARGO_TARGET_DIR:-target}"

# Debian packages: a compiler and cmake for the cryptography, venv for the client libraries, nginx as the rival in the cost table.
packages() {
  local missing=()
  command -v cc >/dev/null || missing+=(gcc libc6-dev)
  command -v c++ >/dev/null || missing+=(g++)
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
  [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
  command -v curl >/dev/null || missing+=(curl)
  command -v openssl >/dev/null || missing+=(openssl)
  command -v taskset >/dev/null || missing+=(util-linux)
  command -v npm >/dev/null || missing+=(nodejs npm)
  [ ${#missing[@]} -eq 0 ] && return 0
  echo "installing Debian packages: ${missing[*]}" >&2
  local root=()
  [ "$(id -u)" -eq 0 ] || root=(sudo)
  # nginx is only ever started by our own programs, on a port of theirs; its service stays off.
  {
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" ||
      { "${root[@]}" apt-get update && "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; }
  } >&2 || { echo "error: could not install ${missing[*]}; install them and run this again" >&2; return 1; }
}

# The client libraries, as their users install them.
clients() {
  local venv="$TARGET/clients-venv"
  if [ ! -e "$venv/ready-3" ]; then
    echo "installing CCXT, python-binance, pybit and python-okx into $venv" >&2
    python3 -m venv "$venv" >&2 &&
      "$venv/bin/pip" install --quiet --disable-pip-version-check \
        ccxt==4.5.90 python-binance==1.0.37 pybit==5.17.0 python-okx==0.4.4 >&2 &&
      touch "$venv/ready-3" || { echo 'error: could not install the client libraries' >&2; return 1; }
  fi
  PORTCULLIS_TEST_PYTHON="$(cd "$venv" && pwd)/bin/python"
  export PORTCULLIS_TEST_PYTHON
}

# The exchange's own libraries, for ./test: the newer into the same place, the older into one of its own, since it has a
# module of the same name as python-binance.
official() {
  local venv="$TARGET/clients-venv" own="$TARGET/connector-venv"
  if [ ! -e "$own/ready-1" ]; then
    echo "installing the exchange's own client libraries into $venv and $own" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check binance-sdk-spot==13.3.0 >&2 &&
      python3 -m venv "$own" >&2 &&
      "$own/bin/pip" install --quiet --disable-pip-version-check binance-connector==3.13.0 >&2 &&
      touch "$own/ready-1" || { echo 'error: could not install the client libraries' >&2; return 1; }
  fi
  PORTCULLIS_CONNECTOR_PYTHON="$(cd "$own" && pwd)/bin/python"
  export PORTCULLIS_CONNECTOR_PYTHON
}

# CCXT for JavaScript, for ./test. Its newest version here is not always that of Python's.
javascript() {
  local own="$TARGET/javascript"
  if [ ! -e "$own/ready-1" ]; then
    echo "installing CCXT for JavaScript into $own" >&2
    mkdir -p "$own" &&
      (cd "$own" && npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional ccxt@4.5.84 >&2) &&
      touch "$own/ready-1" || { echo 'error: could not install CCXT for JavaScript' >&2; return 1; }
  fi
  PORTCULLIS_CCXT_JS="$(cd "$own" && pwd)/node_modules/ccxt"
  export PORTCULLIS_CCXT_JS
}

# A whole trading program, for ./test: Freqtrade, in a place of its own, since it pins libraries that others have too.
freqtrade() {
  local own="$TARGET/freqtrade-venv"
  if [ ! -e "$own/ready-1" ]; then
    echo "installing Freqtrade into $own" >&2
    python3 -m venv "$own" >&2 &&
      "$own/bin/pip" install --quiet --disable-pip-version-check freqtrade==2026.9 >&2 &&
      touch "$own/ready-1" || { echo 'error: could not install Freqtrade' >&2; return 1; }
  fi
  PORTCULLIS_FREQTRADE="$(cd "$own" && pwd)/bin/freqtrade"
  export PORTCULLIS_FREQTRADE
}

# Another, for ./test: NautilusTrader. It is the last version for Python 3.11.
nautilus() {
  local own="$TARGET/nautilus-venv"
  if [ ! -e "$own/ready-1" ]; then
    echo "installing NautilusTrader into $own" >&2
    python3 -m venv "$own" >&2 &&
      "$own/bin/pip" install --quiet --disable-pip-version-check nautilus_trader==1.221.0 >&2 &&
      touch "$own/ready-1" || { echo 'error: could not install NautilusTrader' >&2; return 1; }
  fi
  PORTCULLIS_NAUTILUS_PYTHON="$(cd "$own" && pwd)/bin/python"
  export PORTCULLIS_NAUTILUS_PYTHON
}

# Each program on its own, so that none lends another its features.
build() {
  echo 'building the programs (release)' >&2
  local package
  for package in portcullis-unseal portcullis-signer portcullis-gateway portcullis-cli portcullis-sim portcullis-bench; do
    cargo build --quiet --release --locked -p "$package" || return 1
  done
  PORTCULLIS_BIN="$(cd "$TARGET/release" && pwd)"
  export PORTCULLIS_BIN
}
