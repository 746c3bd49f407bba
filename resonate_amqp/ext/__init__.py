"""What makes consumers and tasks that exist already durable: Kombu's and Celery's."""
