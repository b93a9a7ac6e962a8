"""Microsoft Graph: router, errors, OData, one module per resource."""
