#!/bin/sh
# How many there are, for whoever knows the token.
if [ "$QUERY_STRING" != "$STOCK_TOKEN" ]; then
  echo "Status: 403 Forbidden"
  echo "Content-Type: text/plain"
  echo
  echo "no"
  exit
fi
echo "Content-Type: text/plain"
echo
echo "7 teapots, counted by $(hostname) (commit $OPENSHIFT_BUILD_COMMIT)"
