"""StarCraft II through the smacv2 package."""
