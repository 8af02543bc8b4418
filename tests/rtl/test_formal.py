"""Each proof of hw_src/formal holds, and fails when the module that it is about is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from hw_src.formal.proofs import PROOFS, ROOT, Proof, available, prove

PROOF = {proof.name: proof for proof in PROOFS}
SHORT = 10
"""Cycles of a bounded proof here; `make formal` goes on to the depth that it states."""

pytestmark = pytest.mark.skipif(not available(), reason="SymbiYosys is not installed; make formal")


def depth(proof: Proof) -> int:
    return SHORT if proof.mode == "bmc" else proof.depth


@pytest.mark.parametrize("name", PROOF)
def test_a_proof_holds(name):
    assert prove(PROOF[name], depth=depth(PROOF[name])) == ""


MUTATIONS = [
    # Data wait for the address's acceptance, which AXI forbids.
    ("axi_writer", "send = send_valid &&", "send = send_valid && !aw_valid_q &&", "data_offered"),
    ("axi_writer", "beat_q == sending.length", "beat_q == '0", "last_is_last"),
    ("axi_writer", "if (aw_done) aw_valid_q", "if (1'b1) aw_valid_q", "stable_address"),
    ("axi_writer", "if (!abort_i && !aw_valid_q", "if (!aw_valid_q", "no_grant_in_abort"),
    ("axi_reader", "rready_o = order_valid", "rready_o = order_valid && !ar_valid_q", "ready_for"),
    ("axi_reader", "<< oldest.client", "<< granted.client", "owner"),
    ("axi_reader", "quiet_o = !order_valid &&", "quiet_o =", "quiet"),
    ("axil_registers", "awready_o = !address_held_q", "awready_o = 1'b1", "addresses"),
    ("axil_registers", "write || (s_axil_bvalid_o && !s_axil_bready_i)", "write", "stable_b"),
    ("axil_registers", "!(wdata_q[CONTROL_RESET_BIT]", "(wdata_q[CONTROL_RESET_BIT]", "start"),
    ("fifo", "ready_o = (write_q", "ready_o = 1'b1 | (write_q", "bounded"),
    ("fifo_block", "(!held_q || move)", "1'b1", "read"),
    ("slice", "if (ready_o) spare_q", "if (1'b1) spare_q", "spare"),
]


@pytest.mark.parametrize(("name", "old", "new", "assertion"), MUTATIONS)
def test_a_proof_fails_for_a_damaged_module(name, old, new, assertion):
    proof = PROOF[name]
    file = Path(proof.sources[0])
    text = (ROOT / file).read_text()
    assert text.count(old) == 1
    failed = prove(proof, depth=depth(proof), changed={file.name: text.replace(old, new)})
    assert assertion in failed
