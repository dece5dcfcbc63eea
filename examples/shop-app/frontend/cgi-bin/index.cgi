#!/bin/sh
# The shop's page: what it is built from, and what the backend says.
stock=$(wget -q -O - "http://backend:8080/cgi-bin/stock.cgi?$STOCK_TOKEN") || stock="the backend does not answer"

echo "Content-Type: text/plain"
echo
echo "Welcome to the shop"
echo "commit:  $OPENSHIFT_BUILD_COMMIT"
echo "pod:     $(hostname)"
echo "stock:   $stock"
