-- Its rows are accounts now.
DROP TABLE IF EXISTS users;
