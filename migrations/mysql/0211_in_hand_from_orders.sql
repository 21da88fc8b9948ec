-- Until now it was added up at each start.
INSERT IGNORE INTO in_hand (product, buyer, units)
SELECT product, buyer, SUM(units)
FROM (
    SELECT l.product, o.buyer, l.quantity AS units
    FROM orders o
    JOIN order_lines l ON l.sequence = o.sequence
    WHERE o.state IN ('held', 'paying', 'cancel_requested', 'paid', 'shipped', 'delivered', 'completed', 'return_requested')
    UNION ALL
    SELECT product, buyer, offer_units
    FROM waitlist
    WHERE offer_units IS NOT NULL
) counted
GROUP BY product, buyer;
