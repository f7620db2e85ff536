"""What runs inside of the judged process and tells the gate: copied beside the tested tree.

These modules import the standard library, their runner and each other alone (relatively, as they
run under another name), and must work in every Python and pytest that a project may use.
"""
