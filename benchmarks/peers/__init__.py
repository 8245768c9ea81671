"""Other queues and mail clients, made to do beside Tidings what it does, by one measure."""
