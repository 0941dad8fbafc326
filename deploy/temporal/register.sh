#!/bin/sh
# Registers the namespace and the Search Attributes that Sluice's Workflows carry. Changes nothing when they exist.
set -eu

temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" > /dev/null 2>&1 ||
    temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 30d

temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" --type Keyword \
    --name SluicePolicy --name SluicePolicyVersion --name SluiceTenant --name SluiceStatus --name SluiceRisk
