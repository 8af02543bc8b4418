"""Area and logic levels before placement, by Yosys."""
