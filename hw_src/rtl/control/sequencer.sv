// Runs the queued descriptors, and says how the run stands.
//
//     IDLE -> START -> RUN -> FLUSH -> CLOSE -> IDLE        a run that ends well
//             RUN, FLUSH -> FAULT                           the first fault stops it
//             any -> CLEAN -> IDLE or START                 CONTROL.reset; START after a fault
//
// In all states but RUN and FLUSH the units below are held in reset (`unit_rst_o`, a cycle behind
// the state), and the memory ports finish what they have begun and discard it; CLOSE and CLEAN wait
// until they are quiet. FLUSH
// waits until every write was answered, before and after END's own profile entry.
//
// Operations begin in the order of the table. LOAD_IMAGE and LOAD_RESIDUAL, which write different
// memories, may overlap, and so may operations of the datapath, which says itself when it takes the
// next one (overlap.sv); all others run alone. Each unit is a slot that remembers number and begin of
// its operation for the profile, the datapath several: its operations end in their order. In the
// profile an operation that began before the end of the one before begins with that end, so that
// times of layers add up.
//
// START while busy does not disturb the run: it is flagged as an error beside it, unless there is
// one already. A fault after it takes its place.

module sequencer
  import quasar_pkg::*;
#(
    parameter int unsigned READ_PORTS = 2
) (
    input logic clk_i,
    input logic rst_i,

    // Registers
    input logic start_i,
    input logic reset_i,
    output logic [3:0] status_o,
    output cause_e cause_o,
    output logic [31:0] descriptor_number_o,
    output logic [63:0] address_o,
    output logic [47:0] cycles_o,
    output logic done_event_o,
    output logic error_event_o,
    input logic [31:0] count_i,
    input logic [63:0] program_i,
    input logic [31:0] program_bytes_i,
    input logic [63:0] image_i,
    input logic [63:0] output_i,
    input logic [63:0] profile_i,
    input logic [31:0] profile_bytes_i,

    // The whole
    output logic latch_o,  // one cycle: copy the configuration for this run
    output logic begin_o,  // one cycle: the first of the run for the units
    output logic unit_rst_o,
    input logic ports_quiet_i,  // no burst is under way
    input logic writes_quiet_i,  // no store or profile entry is under way

    // Queue of checked descriptors
    input logic queue_valid_i,
    output logic queue_ready_o,
    input descriptor_t queue_descriptor_i,
    input violation_t queue_violation_i,
    input logic queue_bad_i,
    input logic [3:0] queue_unit_i,  // that it is for, none for END
    output logic datapath_next_o,  // it is a legal one for the datapath
    input logic datapath_accept_i,

    // Units: 0 load image, 1 load residual, 2 datapath, 3 store
    output logic [3:0] unit_start_o,
    output descriptor_t unit_descriptor_o,
    output logic [7:0] unit_number_o,
    input logic [3:0] unit_done_i,

    // Faults: read ports, write port, datapath
    input logic [READ_PORTS+1:0] fault_i,
    input cause_e [READ_PORTS+1:0] fault_cause_i,
    input logic [READ_PORTS+1:0][63:0] fault_address_i,

    output logic profile_valid_o,
    input logic profile_ready_i,
    output logic [25:0] profile_number_o,
    output logic [47:0] profile_begin_o,
    output logic [47:0] profile_end_o
);

  localparam int unsigned SLOTS = 4;
  localparam int unsigned FAULTS = READ_PORTS + 2;

  typedef enum logic [2:0] {
    IDLE,
    START,
    RUN,
    FLUSH,
    FLUSH_END,
    CLOSE,
    FAULT,
    CLEAN
  } state_e;
  state_e state_q;

  // --- Faults: the lowest numbered of those of one cycle
  logic fault, again_q, done_q;
  cause_e fault_cause;
  logic [63:0] fault_address;

  always_comb begin
    fault = |fault_i;
    fault_cause = CAUSE_NONE;
    fault_address = '0;
    for (int f = FAULTS - 1; f >= 0; f--) begin
      if (fault_i[f]) begin
        fault_cause = fault_cause_i[f];
        fault_address = fault_address_i[f];
      end
    end
  end

  // The configuration, checked before anything is read.
  cause_e start_cause;
  logic [63:0] start_address;
  always_comb begin
    start_cause   = CAUSE_NONE;
    start_address = '0;
    if (34'(profile_bytes_i) < 34'({count_i[27:0], 4'd0})) start_cause = CAUSE_BAD_RANGE;
    if (38'(program_bytes_i) < {count_i, 6'd0}) start_cause = CAUSE_BAD_RANGE;
    if (profile_i[5:0] != '0) start_address = profile_i;
    if (output_i[5:0] != '0) start_address = output_i;
    if (image_i[5:0] != '0) start_address = image_i;
    if (program_i[5:0] != '0) start_address = program_i;
    if (start_address != '0) start_cause = CAUSE_MISALIGNED;
  end

  // --- Dispatch
  logic [SLOTS-1:0] busy_q, ended_q, dispatched;
  logic [25:0] number_q;
  logic dispatch, may_begin, ready, run_ends, datapath_busy, datapath_room, all_idle;

  assign datapath_next_o = queue_valid_i && !queue_bad_i && queue_unit_i[2];
  // All slots free, or one load beside the other, or a datapath that takes another operation.
  assign all_idle = busy_q == '0 && !datapath_busy;
  assign may_begin = queue_unit_i[2] ? busy_q == '0 && datapath_room && datapath_accept_i :
      all_idle || (queue_unit_i[1:0] != '0 && !busy_q[3] && !datapath_busy &&
                   (busy_q[1:0] & queue_unit_i[1:0]) == '0);
  assign ready = state_q == RUN && queue_valid_i && !queue_bad_i;
  assign dispatch = ready && queue_unit_i != '0 && may_begin && unit_start_o == '0;
  assign dispatched = dispatch ? queue_unit_i : '0;
  assign run_ends = ready && queue_unit_i == '0 && all_idle;
  assign queue_ready_o = dispatch || run_ends;

  always_ff @(posedge clk_i) begin
    unit_start_o <= dispatched;
    if (dispatch || run_ends) begin
      number_q <= number_q + 1'b1;
      if (dispatch) begin
        unit_descriptor_o <= queue_descriptor_i;
        unit_number_o <= number_q[7:0];
      end
    end
    if (latch_o || rst_i) begin
      number_q <= '0;
      unit_number_o <= '0;
    end
    if (unit_rst_o) unit_start_o <= '0;
  end

  // --- The datapath's operations, oldest first, until they are reported: what is known when they begin,
  // and what when they end
  localparam int unsigned ENTRIES = 4;
  typedef struct packed {
    logic [25:0] number;
    logic [47:0] first;
  } entry_begin_t;
  typedef struct packed {
    logic [25:0] number;
    logic [47:0] first;
    logic [47:0] last;
  } entry_t;
  (* ram_style = "distributed" *) entry_begin_t begun[ENTRIES];
  (* ram_style = "distributed" *) entry_t ended[ENTRIES];
  entry_begin_t ending;
  entry_t entry;
  logic [1:0] entry_in_q, entry_end_at_q, entry_out_q;
  logic [2:0] entries_q, entries_ended_q;
  logic entry_report, entry_ends;
  logic [47:0] last_end_q;
  assign datapath_busy = entries_q != '0;
  assign datapath_room = entries_q != 3'(ENTRIES);
  assign entry_ends = unit_done_i[2] && entries_q != entries_ended_q;
  assign ending = begun[entry_end_at_q];
  assign entry = ended[entry_out_q];

  always_ff @(posedge clk_i) begin
    if (dispatched[2]) begin
      begun[entry_in_q] <= '{number: number_q, first: cycles_o};
      entry_in_q <= entry_in_q + 1'b1;
    end
    if (entry_ends) begin
      ended[entry_end_at_q] <= '{
          number: ending.number,
          first: ending.first < last_end_q ? last_end_q : ending.first,
          last: cycles_o
      };
      last_end_q <= cycles_o;
      entry_end_at_q <= entry_end_at_q + 1'b1;
    end
    if (entry_report && profile_ready_i) entry_out_q <= entry_out_q + 1'b1;
    entries_q <= entries_q + 3'(dispatched[2]) - 3'(entry_report && profile_ready_i);
    entries_ended_q <= entries_ended_q + 3'(entry_ends) - 3'(entry_report && profile_ready_i);
    if (unit_rst_o) begin
      {entry_in_q, entry_end_at_q, entry_out_q} <= '0;
      entries_q <= '0;
      entries_ended_q <= '0;
      last_end_q <= '0;
    end
  end

  // --- Slots: begin and end of each unit's operation, then its profile entry
  logic [SLOTS-1:0][25:0] slot_number_q;
  logic [SLOTS-1:0][47:0] begin_q, end_q;
  logic [SLOTS-1:0] report;
  logic [47:0] end_begin_q;

  always_comb begin
    report = '0;
    profile_number_o = entry.number;
    profile_begin_o = entry.first;
    profile_end_o = entry.last;
    for (int s = SLOTS - 1; s >= 0; s--) begin
      if (ended_q[s]) begin
        report = SLOTS'(1) << s;
        profile_number_o = slot_number_q[s];
        profile_begin_o = begin_q[s];
        profile_end_o = end_q[s];
      end
    end
    entry_report = ended_q == '0 && entries_ended_q != '0;
    profile_valid_o = |ended_q || entry_report;
    if (state_q == FLUSH) begin  // END's own
      profile_valid_o = writes_quiet_i;
      profile_number_o = number_q - 1'b1;
      profile_begin_o = end_begin_q;
      profile_end_o = cycles_o;
    end
  end

  always_ff @(posedge clk_i) begin
    for (int s = 0; s < SLOTS; s++) begin
      if (dispatched[s] && s != 2) begin
        busy_q[s] <= 1'b1;
        begin_q[s] <= cycles_o;
        slot_number_q[s] <= number_q;
      end
      if (unit_done_i[s] && busy_q[s] && !ended_q[s]) begin
        ended_q[s] <= 1'b1;
        end_q[s]   <= cycles_o;
      end
      if (report[s] && profile_ready_i) begin
        ended_q[s] <= 1'b0;
        busy_q[s]  <= 1'b0;
      end
    end
    if (run_ends) end_begin_q <= cycles_o;
    if (unit_rst_o) begin
      busy_q  <= '0;
      ended_q <= '0;
    end
  end

  // --- The run
  logic running, stop, queue_stop;
  cause_e stop_cause;
  logic [63:0] stop_address;
  logic [25:0] stop_number;

  assign running = state_q == RUN || state_q == FLUSH || state_q == FLUSH_END;
  assign stop_number = number_q - 26'(!queue_stop && number_q != '0);
  always_comb begin
    queue_stop = state_q == RUN && queue_valid_i && queue_bad_i && all_idle;
    stop = queue_stop;
    stop_cause = queue_violation_i.cause;
    stop_address = 64'(queue_violation_i.offset);
    if ((running || state_q == CLOSE) && fault) begin
      stop = 1'b1;
      queue_stop = 1'b0;
      stop_cause = fault_cause;
      stop_address = fault_address;
    end
    if (state_q == START && start_cause != CAUSE_NONE) begin
      stop = 1'b1;
      stop_cause = start_cause;
      stop_address = start_address;
    end
    if (state_q == CLEAN && fault && fault_cause == CAUSE_STALLED && cause_o == CAUSE_NONE) begin
      stop = 1'b1;
      stop_cause = fault_cause;
      stop_address = fault_address;
    end
  end

  always_ff @(posedge clk_i) begin
    done_event_o <= 1'b0;
    error_event_o <= 1'b0;
    latch_o <= 1'b0;
    unit_rst_o <= !running;
    begin_o <= running && unit_rst_o;
    if (running || state_q == CLOSE) cycles_o <= cycles_o + 1'b1;

    case (state_q)
      IDLE: if (start_i) latch_o <= 1'b1;
      START: state_q <= RUN;
      RUN: if (run_ends) state_q <= FLUSH;
      FLUSH: if (writes_quiet_i && profile_ready_i) state_q <= FLUSH_END;
      FLUSH_END: if (writes_quiet_i) state_q <= CLOSE;
      CLOSE:
      if (ports_quiet_i && unit_rst_o) begin
        state_q <= IDLE;
        done_q <= 1'b1;
        done_event_o <= 1'b1;
      end
      CLEAN:
      if (ports_quiet_i && unit_rst_o) begin
        state_q <= IDLE;
        if (cause_o == CAUSE_STALLED) cause_o <= CAUSE_NONE;  // it answered after all
        again_q <= 1'b0;
        latch_o <= again_q;
      end
      default: ;
    endcase

    if (stop) begin
      if (state_q != CLEAN) state_q <= FAULT;
      cause_o <= stop_cause;
      address_o <= stop_address;
      descriptor_number_o <= 32'(stop_number);
      error_event_o <= 1'b1;
    end else if (cause_o == CAUSE_NONE) begin
      descriptor_number_o <= 32'(stop_number);
    end

    if (start_i) begin
      case (state_q)
        IDLE: ;
        FAULT: begin
          state_q <= CLEAN;
          again_q <= 1'b1;
          cause_o <= CAUSE_NONE;
        end
        default:
        if (cause_o == CAUSE_NONE && !stop) begin
          cause_o <= CAUSE_START_WHILE_BUSY;
          address_o <= '0;
          descriptor_number_o <= 32'(stop_number);
          error_event_o <= 1'b1;
        end
      endcase
    end
    if (latch_o) begin
      state_q <= START;
      done_q <= 1'b0;
      cycles_o <= '0;
      cause_o <= CAUSE_NONE;
      address_o <= '0;
    end
    if (reset_i) begin
      state_q <= CLEAN;
      done_q <= 1'b0;
      again_q <= 1'b0;
      latch_o <= 1'b0;
      cause_o <= CAUSE_NONE;
      address_o <= '0;
      error_event_o <= 1'b0;
    end
    if (rst_i) begin
      state_q <= IDLE;
      done_q <= 1'b0;
      again_q <= 1'b0;
      cycles_o <= '0;
      cause_o <= CAUSE_NONE;
      address_o <= '0;
      descriptor_number_o <= '0;
      latch_o <= 1'b0;
      unit_rst_o <= 1'b1;
      begin_o <= 1'b0;
    end
  end

  always_comb begin
    status_o = '0;
    status_o[STATUS_IDLE_BIT] = state_q == IDLE && !latch_o;
    status_o[STATUS_BUSY_BIT] = (state_q != IDLE || latch_o) && state_q != FAULT;
    status_o[STATUS_DONE_BIT] = done_q;
    status_o[STATUS_ERROR_BIT] = cause_o != CAUSE_NONE;
  end

endmodule
