# Clocks, and the crossings inside the IPs, are constrained by the IPs themselves. The design has no
# pins of its own. A compressed bitstream loads faster; PYNQ takes it as it is.
set_property BITSTREAM.GENERAL.COMPRESS TRUE [current_design]

# The interrupt is a level that stays until the host clears it, and the interrupt controller
# synchronises it: between the two clocks it needs no timing, only a bound.
set_max_delay -datapath_only 10.0 \
  -from [get_cells -hierarchical -filter {NAME =~ *quasar_0/*/irq_o_reg}] \
  -to [get_clocks clk_pl_0]
