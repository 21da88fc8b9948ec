-- How far letters follow the journal: one row, changed in the same transaction as the letters. No row: nobody writes any.
CREATE TABLE IF NOT EXISTS notices (
    id BIGINT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
