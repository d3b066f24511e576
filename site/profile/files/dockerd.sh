#!/bin/sh
# Written by hookbuild from the site profile: starts dockerd with its settings. It
# comes before dockerd in hook-docker's PATH. An empty variable counts as unset: what
# the kernel's command line says takes precedence.

