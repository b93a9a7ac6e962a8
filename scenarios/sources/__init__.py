"""What the lab rests on: facts, each with the public page that states it."""
