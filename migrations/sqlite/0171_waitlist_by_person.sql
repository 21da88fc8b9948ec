CREATE UNIQUE INDEX IF NOT EXISTS waitlist_by_person
ON waitlist (buyer, product);
