"""What cloud exports say: services, accounts and their roles, instances, compared and judged."""
