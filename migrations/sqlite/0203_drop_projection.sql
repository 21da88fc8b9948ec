-- Its row is one of the followers now.
DROP TABLE IF EXISTS projection;
