# vivado -mode batch -source build.tcl -tclargs SETTINGS FOLDER
#
# From the RTL to a bitstream, its handoff and reports in FOLDER. SETTINGS is what settings.py wrote.

set here [file dirname [file normalize [info script]]]
source $here/package_ip.tcl
source $here/block_design.tcl

proc check_vivado {wanted part board} {
    set found [version -short]
    if {$found ne $wanted} {
        error "this is Vivado $found; the block design is written for $wanted, whose IP versions\
            it names. Put $wanted first in PATH, or run make with VIVADO=/path/to/$wanted/bin/vivado"
    }
    if {[get_parts -quiet $part] eq ""} {
        error "this Vivado does not know the device $part: install the Zynq UltraScale+ devices,\
            and a licence that covers it (the free edition does not)"
    }
    if {[get_board_parts -quiet $board] eq ""} {
        error "this Vivado has no board files for $board: install them from its board store"
    }
}

proc run_and_check {run args} {
    launch_runs $run {*}$args
    wait_on_run $run
    if {[get_property PROGRESS [get_runs $run]] ne "100%"} {
        error "$run ended as '[get_property STATUS [get_runs $run]]';\
            its log is [get_property DIRECTORY [get_runs $run]]/runme.log"
    }
}

proc create_overlay_project {settings folder ip constraints} {
    array set s $settings
    create_project -part $s(part) -force $s(design) $folder/project
    set_property board_part $s(board) [current_project]
    set_property ip_repo_paths $ip [current_project]
    update_ip_catalog
    create_block_design $settings
    set wrapper [make_wrapper -top -files [get_files $s(design).bd]]
    add_files -norecurse $wrapper
    set_property used_in_synthesis false [add_files -fileset constrs_1 -norecurse $constraints]
    set_property top $s(design)_wrapper [current_fileset]
    update_compile_order -fileset sources_1
}

# Reports are written whether timing is met or not: they are what one needs then.
proc implement {settings folder jobs} {
    array set s $settings
    set_property strategy Flow_PerfOptimized_high [get_runs synth_1]
    set_property strategy Performance_ExplorePostRoutePhysOpt [get_runs impl_1]
    run_and_check synth_1 -jobs $jobs
    run_and_check impl_1 -to_step write_bitstream -jobs $jobs
    open_run impl_1
    report_timing_summary -max_paths 20 -file $folder/timing.rpt
    report_utilization -file $folder/utilization.rpt
    report_utilization -hierarchical -hierarchical_depth 5 -file $folder/utilization_tree.rpt
    set setup [get_property STATS.WNS [get_runs impl_1]]
    set hold [get_property STATS.WHS [get_runs impl_1]]
    if {$setup < 0 || $hold < 0} {
        error "timing is not met at $s(clock_mhz) MHz: worst setup slack $setup ns, hold slack\
            $hold ns; see timing.rpt, and lower clock_mhz in overlay.json"
    }
    puts "timing met: worst setup slack $setup ns, hold slack $hold ns"
}

proc collect {settings folder} {
    array set s $settings
    set project $folder/project/$s(design)
    file copy -force $project.runs/impl_1/$s(design)_wrapper.bit $folder/$s(overlay).bit
    file copy -force $project.gen/sources_1/bd/$s(design)/hw_handoff/$s(design).hwh \
        $folder/$s(overlay).hwh
}

proc build {settings_file folder here} {
    set stream [open $settings_file]
    set settings [read $stream]
    close $stream
    array set s $settings
    check_vivado $s(vivado) $s(part) $s(board)
    set sources [concat [lsort [glob $here/../rtl/*.sv $here/../rtl/*/*.sv]] $here/quasar_accelerator.v]
    package_accelerator $sources $folder/ip $s(part) $s(accelerator_vlnv) $s(registers) \
        $s(registers_range)
    create_overlay_project $settings $folder $folder/ip $here/quasar.xdc
    implement $settings $folder $s(jobs)
    collect $settings $folder
}

build [lindex $argv 0] [file normalize [lindex $argv 1]] $here
