#!/bin/sh
# Installs the browser in which the tests open the report, where that needs nobody's password.
# Without one these tests are skipped.
for name in chromium chromium-browser google-chrome; do
    if command -v $name >/dev/null; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "set-up: installing Chromium for the tests of the report (a minute or two)" >&2
    export DEBIAN_FRONTEND=noninteractive
    mkdir -p .tools
    { apt-get update && apt-get install -y --no-install-recommends \
        -o DPkg::Lock::Timeout=600 chromium; } >.tools/browser.log 2>&1 </dev/null && exit 0
    echo "set-up: that failed (see .tools/browser.log)" >&2
fi
echo "set-up: no Chromium: the tests of the report in a browser will be skipped" >&2
