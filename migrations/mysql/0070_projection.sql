-- How far the rows follow the journal: one row, changed in the same transaction as the rows.
CREATE TABLE IF NOT EXISTS projection (
    id BIGINT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
