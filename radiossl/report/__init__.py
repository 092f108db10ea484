"""What a person looks at: contact sheets, figures and the HTML report."""
