"""What the Tracepost services share: the contract, tokens, bounce classification and the chassis they run on."""
