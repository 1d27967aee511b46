-- nodes: List every node that lives, draining ones as well, for those who read their figures.
SELECT node_id, internal_url, secret FROM node
WHERE lease_until > clock_timestamp() AND NOT reaped
ORDER BY internal_url
LIMIT $1
