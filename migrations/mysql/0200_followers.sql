-- How far whoever follows the journal has come, and which journal that is: its id, and the checksum of the frame that holds
-- the record. Both are empty where an earlier release wrote the row, until the next start. `writes` counts how often the
-- row was written, so that each time it changes.
CREATE TABLE IF NOT EXISTS followers (
    name VARCHAR(32) NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL,
    journal_id BIGINT,
    frame_checksum BIGINT,
    writes BIGINT NOT NULL DEFAULT 0
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
