"""Defines what counts as a purchase in the SQL statements of behaviour and propensity."""

#: Type of the events that are purchases.
PURCHASE = "purchase.completed"
#: SQL expression of the amount of a purchase, for the placeholder ``{amount}`` of statements. Events that
#: were stored before their type was known can have an amount in another form; the expression is then null.
AMOUNT = (
    r"CASE WHEN properties ->> 'amount' ~ '^\d{1,30}(\.\d{1,30})?(E[+-]?\d{1,2})?$'"
    " THEN (properties ->> 'amount')::numeric END"
)
