#!/bin/sh
# Runs the server as its own user, in the volume, as the official image does.
set -eu
chown -R redis:redis /data
cd /data
exec setpriv --reuid=redis --regid=redis --init-groups "$@"
