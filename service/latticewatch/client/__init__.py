"""The client half: what runs on the acquisition PC. numpy, pyzmq and msgpack only."""
