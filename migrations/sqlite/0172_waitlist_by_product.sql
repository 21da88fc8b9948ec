CREATE INDEX IF NOT EXISTS waitlist_by_product
ON waitlist (product, ticket);
