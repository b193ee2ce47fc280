"""Tables and pictures made from run directories; reads files only."""
