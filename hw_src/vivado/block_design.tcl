# The block design: processing system, clock, resets, interconnects, interrupt controller, accelerator.

proc connect {driver args} {
    foreach load $args {
        connect_bd_net [get_bd_pins $driver] [get_bd_pins $load]
    }
}

proc connect_axi {master slave} {
    connect_bd_intf_net [get_bd_intf_pins $master] [get_bd_intf_pins $slave]
}

proc create_cell {name vlnv args} {
    set cell [create_bd_cell -type ip -vlnv $vlnv $name]
    if {[llength $args]} {
        set_property -dict $args $cell
    }
    return $cell
}

# The ZCU102's preset gives DDR and peripherals; of the fabric's ports only those in use stay.
# pl_clk0 comes from the IOPLL: PYNQ 3.x computes it from that one.
proc create_processor {name hp_ports clock_mhz} {
    set cell [create_cell $name xilinx.com:ip:zynq_ultra_ps_e:3.4]
    apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e \
        -config {apply_board_preset "1"} $cell
    set_property -dict [list \
        CONFIG.PSU__USE__M_AXI_GP0 1 \
        CONFIG.PSU__MAXIGP0__DATA_WIDTH 32 \
        CONFIG.PSU__USE__M_AXI_GP1 0 \
        CONFIG.PSU__USE__M_AXI_GP2 0 \
        CONFIG.PSU__USE__IRQ0 1 \
        CONFIG.PSU__FPGA_PL0_ENABLE 1 \
        CONFIG.PSU__CRL_APB__PL0_REF_CTRL__SRCSEL IOPLL \
        CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ $clock_mhz \
    ] $cell
    foreach hp $hp_ports {
        set gp [expr {$hp + 2}]
        set_property -dict [list \
            CONFIG.PSU__USE__S_AXI_GP$gp 1 \
            CONFIG.PSU__SAXIGP${gp}__DATA_WIDTH 128 \
        ] $cell
    }
}

# pl_clk0 is on a global buffer already, so the clock wizard needs none at its input.
proc create_clocks_and_resets {processor input_mhz clock_mhz} {
    create_cell clk_wiz_0 xilinx.com:ip:clk_wiz:6.0 \
        CONFIG.PRIM_SOURCE No_buffer \
        CONFIG.PRIM_IN_FREQ $input_mhz \
        CONFIG.CLKOUT1_REQUESTED_OUT_FREQ $clock_mhz \
        CONFIG.RESET_TYPE ACTIVE_LOW \
        CONFIG.RESET_PORT resetn \
        CONFIG.USE_LOCKED true
    create_cell reset_control xilinx.com:ip:proc_sys_reset:5.0
    create_cell reset_accelerator xilinx.com:ip:proc_sys_reset:5.0
    connect $processor/pl_clk0 $processor/maxihpm0_fpd_aclk clk_wiz_0/clk_in1 \
        reset_control/slowest_sync_clk
    connect clk_wiz_0/clk_out1 reset_accelerator/slowest_sync_clk
    connect $processor/pl_resetn0 clk_wiz_0/resetn reset_control/ext_reset_in \
        reset_accelerator/ext_reset_in
    connect clk_wiz_0/locked reset_control/dcm_locked reset_accelerator/dcm_locked
}

# Registers: the processor's 100 MHz on one side, the accelerator's clock on the other.
proc create_control_path {processor accelerator controller} {
    create_cell control_interconnect xilinx.com:ip:smartconnect:1.0 \
        CONFIG.NUM_SI 1 CONFIG.NUM_MI 2 CONFIG.NUM_CLKS 2
    # One level-sensitive input, one line to the processor: PYNQ finds no interrupt without it.
    create_cell $controller xilinx.com:ip:axi_intc:4.1 CONFIG.C_IRQ_CONNECTION 1
    connect $processor/pl_clk0 control_interconnect/aclk $controller/s_axi_aclk
    connect clk_wiz_0/clk_out1 control_interconnect/aclk1
    connect reset_control/interconnect_aresetn control_interconnect/aresetn
    connect reset_control/peripheral_aresetn $controller/s_axi_aresetn
    connect_axi $processor/M_AXI_HPM0_FPD control_interconnect/S00_AXI
    connect_axi control_interconnect/M00_AXI $accelerator/s_axil
    connect_axi control_interconnect/M01_AXI $controller/s_axi
    connect $accelerator/irq $controller/intr
    connect $controller/irq $processor/pl_ps_irq0
}

# Memory port i: an interconnect of its own, which answers addresses outside the DDR with DECERR.
proc create_memory_path {processor accelerator i hp} {
    set cell memory_interconnect_$i
    create_cell $cell xilinx.com:ip:smartconnect:1.0 CONFIG.NUM_SI 1 CONFIG.NUM_MI 1
    connect clk_wiz_0/clk_out1 $cell/aclk $processor/saxihp${hp}_fpd_aclk
    connect reset_accelerator/interconnect_aresetn $cell/aresetn
    connect_axi $accelerator/m_axi_$i $cell/S00_AXI
    connect_axi $cell/M00_AXI $processor/S_AXI_HP${hp}_FPD
}

# The processing system's other slaves (OCM, QSPI, PCIe) are hidden from the memory ports.
proc map_memory_port {processor accelerator i hp windows} {
    set space [get_bd_addr_spaces $accelerator/m_axi_$i]
    set slave $processor/SAXIGP[expr {$hp + 2}]
    foreach {name base bytes} $windows {
        assign_bd_address -offset $base -range $bytes -target_address_space $space \
            [get_bd_addr_segs $slave/HP${hp}_$name]
    }
    foreach segment [get_bd_addr_segs $slave/*] {
        if {![regexp {_(DDR_LOW|DDR_HIGH)$} $segment]} {
            exclude_bd_addr_seg -target_address_space $space $segment
        }
    }
}

proc map_registers {processor accelerator controller base controller_base range} {
    set space [get_bd_addr_spaces $processor/Data]
    assign_bd_address -offset $base -range $range -target_address_space $space \
        [get_bd_addr_segs $accelerator/s_axil/reg0]
    assign_bd_address -offset $controller_base -range $range -target_address_space $space \
        [get_bd_addr_segs $controller/S_AXI/Reg]
}

# `settings` is the array that settings.py writes.
proc create_block_design {settings} {
    array set s $settings
    create_bd_design $s(design)
    create_processor $s(processor) $s(hp_ports) $s(pl_clock_mhz)
    create_cell $s(accelerator) $s(accelerator_vlnv) {*}$s(parameters)
    create_clocks_and_resets $s(processor) $s(pl_clock_mhz) $s(clock_mhz)
    connect clk_wiz_0/clk_out1 $s(accelerator)/aclk
    connect reset_accelerator/peripheral_aresetn $s(accelerator)/aresetn
    create_control_path $s(processor) $s(accelerator) $s(controller)
    map_registers $s(processor) $s(accelerator) $s(controller) \
        $s(registers_base) $s(controller_base) $s(registers_range)
    set i 0
    foreach hp $s(hp_ports) {
        create_memory_path $s(processor) $s(accelerator) $i $hp
        map_memory_port $s(processor) $s(accelerator) $i $hp $s(memory_windows)
        incr i
    }
    validate_bd_design
    check_clock $s(clock_mhz)
    save_bd_design
}

# The clock wizard takes the nearest frequency that its multipliers and dividers give.
proc check_clock {asked_mhz} {
    set hz [get_property CONFIG.FREQ_HZ [get_bd_pins clk_wiz_0/clk_out1]]
    if {abs($hz - $asked_mhz * 1e6) > $asked_mhz * 1e4} {
        error "the clock wizard makes $hz Hz of the $asked_mhz MHz asked for, more than 1 % off;\
            choose another clock_mhz in overlay.json"
    }
}
