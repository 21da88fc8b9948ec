INSERT OR IGNORE INTO engine_time (id, last_stamp)
VALUES (1, 0);
