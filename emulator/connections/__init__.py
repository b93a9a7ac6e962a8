"""How connections are taken, read and ended: what aiohttp and asyncio leave to chance."""
