-- Its rows are audit entries now.
DROP TABLE IF EXISTS audit_log;
