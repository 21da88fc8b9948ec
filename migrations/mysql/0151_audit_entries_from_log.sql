-- Until now only acts on products were noted.
INSERT IGNORE INTO audit_entries (position, at, admin, request, act, product, before_json, after_json)
SELECT position, at, admin, request, act, product, before_json, after_json
FROM audit_log;
