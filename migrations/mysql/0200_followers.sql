-- How far whoever follows the journal has come, and which journal that is: its id, and the checksum of the frame that holds
-- the record. Both are empty where an earlier release wrote the row, until the next start. `settled` counts how often
-- everything up to there was taken to the disk without anything else to write.
CREATE TABLE IF NOT EXISTS followers (
    name VARCHAR(32) NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL,
    journal_id BIGINT,
    frame_checksum BIGINT,
    settled BIGINT NOT NULL DEFAULT 0
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
