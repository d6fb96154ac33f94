"""The presenting room: figures, tables and display objects over plain records. It judges nothing and asks nothing."""
