"""What the tests share: brokers, daemons, devices, models, and who watches them."""
