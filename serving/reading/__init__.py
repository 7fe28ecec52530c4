"""How text that people write is read: strictly, and with sentences about what is wrong."""
