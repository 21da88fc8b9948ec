INSERT IGNORE INTO projection (id, position)
VALUES (1, 0);
