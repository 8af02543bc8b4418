# Packages hw_src/rtl behind quasar_accelerator.v as an IP with its register map.

# The bus parameters by which the interconnect sizes itself: a reader has up to 32 bursts of 32
# beats under way, the writer 16 of 16; no transfer is narrower than the port.
proc describe_memory_ports {core} {
    for {set i 0} {$i < 4} {incr i} {
        set port [ipx::get_bus_interfaces m_axi_$i -of_objects $core]
        bus_parameter $port MAX_BURST_LENGTH 32
        bus_parameter $port NUM_READ_OUTSTANDING 32
        bus_parameter $port SUPPORTS_NARROW_BURST 0
        if {$i == 0} {
            bus_parameter $port NUM_WRITE_OUTSTANDING 16
        } else {
            bus_parameter $port READ_WRITE_MODE READ_ONLY
            exist_if "\$READ_PORTS > $i" $port [ipx::get_ports -filter "NAME =~ m_axi_${i}_*" \
                -of_objects $core]
        }
        ipx::associate_bus_interfaces -busif m_axi_$i -clock aclk $core
    }
}

# An interface and its ports exist where `condition` on the IP's parameters holds; else inputs are 0.
proc exist_if {condition interface ports} {
    set_property enablement_dependency $condition $interface
    foreach port $ports {
        set_property enablement_dependency $condition $port
        if {[get_property direction $port] eq "in"} {
            set_property driver_value 0 $port
        }
    }
}

proc bus_parameter {port name value} {
    set_property value $value [ipx::add_bus_parameter $name $port]
}

# The registers of the interface description, with their fields, as the .hwh shall carry them.
proc describe_registers {core registers range} {
    ipx::associate_bus_interfaces -busif s_axil -clock aclk $core
    set map [ipx::get_memory_maps s_axil -of_objects $core]
    set block [ipx::get_address_blocks reg0 -of_objects $map]
    set_property range $range $block
    set_property usage register $block
    foreach {name offset access written description fields} $registers {
        set register [ipx::add_register $name $block]
        set_property address_offset $offset $register
        set_property size 32 $register
        set_property access $access $register
        set_property description $description $register
        foreach {name low width description} $fields {
            set field [ipx::add_field $name $register]
            set_property bit_offset $low $field
            set_property bit_width $width $field
            set_property access $access $field
            set_property modified_write_value $written $field
            set_property description $description $field
        }
    }
}

proc package_accelerator {sources folder part vlnv registers range} {
    lassign [split $vlnv :] vendor library name version
    create_project -part $part -force package $folder.project
    add_files -norecurse $sources
    set_property top quasar_accelerator [current_fileset]
    update_compile_order -fileset sources_1
    ipx::package_project -root_dir $folder -vendor $vendor -library $library \
        -taxonomy /UserIP -import_files -force
    set core [ipx::current_core]
    set_property name $name $core
    set_property version $version $core
    set_property display_name "Quasar accelerator" $core
    set_property supported_families {zynquplus Production} $core
    describe_memory_ports $core
    describe_registers $core $registers $range
    ipx::create_xgui_files $core
    ipx::update_checksums $core
    ipx::check_integrity $core
    ipx::save_core $core
    close_project
}
