// What the proofs of both directions of an AXI4 port say of a burst (AMBA IHI 0022).
package rules_pkg;

  // Aligned to beats of 2^size bytes, within a page of 4 KiB; `length` is beats - 1.
  function automatic logic legal_burst(input logic [63:0] address, input logic [7:0] length,
                                       input int unsigned size);
    legal_burst = (32'(address[11:0]) & ((32'd1 << size) - 32'd1)) == 32'd0 &&
        32'(address[11:0]) + ((32'(length) + 32'd1) << size) <= 32'd4096;
  endfunction

endpackage
