"""OData: the model of the entities, `$metadata`, annotations, query options and `$filter` as SQL."""
