{ team: 'acme' }
